import './rescue.ts';
import { session } from './session.ts';

void session.start();
